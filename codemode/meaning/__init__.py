"""Finds tools by what they mean, where the extra `semantic` is installed: a model, the vectors of tools, likeness."""
