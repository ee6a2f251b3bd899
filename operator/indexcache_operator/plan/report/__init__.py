"""What people read: conditions, evidence, printer columns, live figures."""
