"""What can be designed: parameters in, designs out."""
