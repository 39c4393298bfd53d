"""The two small servers: photos for annotators' browsers, and the sample upstream that the demo crawls.

Decides what they serve and to whom. Leaves crawling, labelling and every judgement about a photo to the stages.
"""
