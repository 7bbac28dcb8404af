"""Other implementations of layers, as Caffe's cuDNN layers are: the same types and numbers, another engine below."""
