"""Studies of heterogeneous chips: fronts by machine, and what changes the winner."""
