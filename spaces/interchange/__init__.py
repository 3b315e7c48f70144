"""Files of other tools: Timeloop, AccelForge, ZigZag, Accelergy."""
