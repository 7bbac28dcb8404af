"""The command line, a module for each group of the help: each command reads its arguments, calls one function of tools/
and prints what it returns."""
