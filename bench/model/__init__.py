"""What is trained: the plan of a program, and how its exponents are found."""
