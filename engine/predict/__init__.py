"""What the picked configuration's fold models say together, for people and for export."""
