"""Layer-wise N:M selection: FLOW, retained saliency, OWL, uniform."""
