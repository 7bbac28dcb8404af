"""What is done to images on their way into the net: the formulas, and the records of what a spec says of them."""
