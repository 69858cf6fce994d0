"""Whatever can become a graph, becomes one here."""
