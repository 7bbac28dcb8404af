"""What looks at neighbours in an image: convolutions, pooling, local normalization over them."""
