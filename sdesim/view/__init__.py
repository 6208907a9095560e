"""The run browser: what a store, a file or a folder of sdesim holds, as pages of this machine's own browser.

Nothing that is looked at is run: files are data, and their text is shown as text.
"""
