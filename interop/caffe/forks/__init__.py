"""Dialects of Caffe: what forks added to its messages, and the layers of ours that their layers become."""
