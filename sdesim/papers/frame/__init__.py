"""What figures share: what one is, its runs kept, its measurements, pictures and gallery."""
