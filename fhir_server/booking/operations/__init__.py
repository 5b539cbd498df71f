"""Operations of booking: one file each, rows of the table of interactions."""
