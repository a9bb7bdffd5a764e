"""What the gateway is compared with, each tuned as its manual advises."""
