"""What a net is: blobs, declared parameters, the registry, fillers, the YAML spec, the graph and Net itself."""
