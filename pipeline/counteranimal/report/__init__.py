"""The report that people read: a static page with plots, a page of merged photos, and a table for the terminal.

Decides how numbers look. Every number comes from the tables of a release and its evaluation; nothing is estimated here.
"""
