"""Other people's files: what Caffe, ONNX and PyTorch write becomes a spec and parameters, and these become theirs.

Nothing below knows of it: a spec that was read here is the same tree of nodes that YAML gives.
"""
