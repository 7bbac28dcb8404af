"""oneDNN, Intel's library of layers for CPUs, called by ctypes from nettrain's own threads on nettrain's own memory.

The names of functions, constants and structures are those of its C interface, version 3.
"""
