"""Values to content-addressed chunks and back; pure but for the plans that fetch chunks."""
