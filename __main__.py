"""`python -m nettrain`."""

from .cli import main

main()
