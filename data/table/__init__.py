"""Tables: CSV, TSV and Parquet files, what their columns are, and how they become examples and labels."""
