"""Makes the console blocks of the README files tests. pytest wants this at the root, above all READMEs."""
pytest_plugins = ["tests.support.readmes"]
