"""Where the zeros are: density profiles, N:M choices, statistics and stored masks."""
