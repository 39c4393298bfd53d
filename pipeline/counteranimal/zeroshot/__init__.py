"""Zero-shot classification: class names, templates, candidates and the classifier they become."""

from counteranimal.zeroshot.candidates import top20
from counteranimal.zeroshot.classifier import Top, class_logits, text_classifier, top_one

__all__ = ["Top", "class_logits", "text_classifier", "top20", "top_one"]
