def statements(config): return []
