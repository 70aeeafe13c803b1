"""What is wrong with a rack, and how to mend it: tables for what no hardware is needed for, then the host, then the
boards themselves. Each module looks at one of these and yields findings."""
