"""What several machines would do, by formulas and as far as it can be measured on those there are."""
