class Digits:
    def predict(self, inputs):
        return {"label": inputs["image"].argmax(axis=1)}
