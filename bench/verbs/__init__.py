"""The verbs of the command `bench`, a file for each kind: their options, and what they do by means of the other parts.

`add` of each says to the parser what there is; what a verb calls takes the options and returns the exit code.
"""
