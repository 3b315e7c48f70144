"""What a finished study shows: terminal tables, figures, the HTML report."""
