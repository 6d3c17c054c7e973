"""How results look: sheets of text for every format, the page, figures, files for programs."""
