"""The pages people reach by the links in messages, and the addresses that providers report to.

`app.create_app` puts them together: every module of this package that brings `routes(pages)` is served, nothing else
lists them. No page needs a login, a cookie or a script: whoever holds a link may do what the link is for, and no more.
"""
