"""`nettrain data`: what there is to learn from, shown; a module for each kind of thing that can be looked at."""
