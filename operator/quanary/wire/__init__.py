"""What the programs say to each other: arguments, reports, metric names, inference messages. Pure."""
