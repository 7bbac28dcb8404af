"""Caffe's files: nets and solvers as text (prototxt) and in binary, weights, solver states and means.

fields.json      what messages there are, with the numbers, types and defaults of their fields
schema           that table
message          a message that was read: its fields, each with its place
text, binary     prototxt and the wire format to messages, and back
upgrade          what files of older Caffes say, in today's words
"""
