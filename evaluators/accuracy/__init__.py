"""What pruning and projection do to real models: statistics, masks, measured quality."""
