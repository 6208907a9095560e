def plot(config, data): return None
