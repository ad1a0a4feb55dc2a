"""What a bundle is: manifest, catalogue, download, verification. Knows nothing of engines or torch."""
