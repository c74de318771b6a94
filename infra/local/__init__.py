"""The local stack: everything Understudy needs, on loopback, without an AWS account. Never shipped."""
