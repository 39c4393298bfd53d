"""The ordered steps and their compositions, which verbs and flows both call."""
