"""The rules of the product, tested as they are: values in, values out."""
