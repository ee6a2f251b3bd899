"""Keeps what the API server has current by watches, so that looks need not ask.

A store keeps the objects of one collection, an informer keeps a store current, and reads go to a store while
it is current, else to the API server.
"""
