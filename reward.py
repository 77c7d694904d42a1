def extract(response):
    i = response.rfind("\\boxed{")
    if i < 0:
        return None
    j = response.find("}", i)
    return response[i + 7 : j] if j > 0 else None


def verify(response, answer):
    e = extract(response)
    return e is not None and e.strip() == answer.strip()


def verify_batch(rs, a):
    return [verify(r, x) for r, x in zip(rs, a, strict=False)]
