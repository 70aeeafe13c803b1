def write_page(content, folder):
    pass
