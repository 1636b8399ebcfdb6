/// The phrases that prompts are composed of.
enum PromptPhrases {
    static let sentences = [
        "{scene}, {look}",
        "{look}, {scene}",
        "{look} of {scene}",
        "{scene} in the style of {look}",
        "{scene}, drawn as {look}",
        "{scene} as {look}",
        "turn {scene} into {look}",
        "turn this into {look}",
        "make it look like {look}",
        "make {scene} look like {look}",
        "please apply {look} to this video",
        "show {scene} as {look}",
        "convert to {look}",
        "{look} style",
        "{look} video",
        "video of {scene}, {look}, high quality",
        "{scene} with {look}",
        "i want to see {look}",
    ]

    /// First words of phrases that take no indefinite article.
    static let startsWithoutArticle: Set = [
        "at", "by", "drawn", "fall", "glowing", "in", "made", "on", "red", "under", "van",
    ]

    /// None of them may describe the look of an image.
    static let scenes = [
        "a street", "a street at dusk", "a man talking", "a woman smiling", "a face", "two faces",
        "a dog in a park", "a cat on a sofa", "a car on the road", "cars in traffic",
        "people walking", "people in a room", "a crowd in a square", "two bikes on grass",
        "children playing football", "a rabbit in a meadow", "birds over a field",
        "a city skyline", "a bridge over a river", "a train at a station", "a market",
        "a room with a window", "a kitchen", "an office", "a person at a desk", "a webcam",
        "mountains and a lake", "a beach with waves", "a forest path", "a garden with flowers",
        "a house on a hill", "a boat on the sea", "a horse running", "a dancer on a stage",
        "a cup of coffee", "a table with fruit", "a computer screen", "a text on a page",
        "a security camera in a hall", "a film camera on a tripod",
        "an animated film", "clouds in the sky", "a rocket starting", "a waterfall",
    ]

    /// Words that people add to a prompt without asking for a look.
    static let praise = [
        "high quality", "highly detailed", "4k", "8k", "masterpiece", "best quality", "sharp focus",
        "soft light", "very beautiful", "award winning", "ultra hd", "for my friends",
    ]

    static let requestsToKeep = [
        "no change", "keep it as it is", "original", "do nothing", "unchanged", "as it is",
        "leave it alone", "the same video", "no style", "none", "do not change anything",
        "keep the original", "realistic video", "natural", "a normal video", "just the video",
    ]

    static let looks = [
        "nothing known", "oil painting", "watercolour", "watercolor painting", "stained glass",
        "ukiyo-e print", "claymation", "lego bricks", "van gogh", "impressionism", "marble statue",
        "crochet", "origami", "hologram", "x-ray", "ink wash", "mosaic tiles", "snow",
        "in the rain",
        "under water", "steampunk", "anime", "3d render", "low poly", "embroidery", "graffiti",
        "made of gold", "on fire", "wooden toy", "velvet", "quarterly report", "banana bread",
    ]

    /// Characters of many scripts.
    static let signs = [
        "é", "ß", "ñ", "ø", "ж", "я", "λ", "Ω", "س", "م", "א", "日", "本", "語", "猫", "한", "국", "ก",
        "न", "😀", "🎨", "🌈", "?", "#", "€", "∑", "→",
    ]
}
