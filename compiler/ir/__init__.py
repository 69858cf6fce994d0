"""The intermediate representation: types, shapes, graphs. Knows nothing of torch, targets or text."""
