import itsdangerous

print(itsdangerous.Signer("key").sign("hello").decode())
