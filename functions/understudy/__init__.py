"""Understudy: a serverless LLM router that goes on when a model falters."""

__version__ = "0.1.0"
