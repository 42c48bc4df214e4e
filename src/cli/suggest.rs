//! Finds the word that a mistyped one was probably meant to be.

/// Words that differ in more than a third of their letters are different words.
const MAX_DIFFERENCE: usize = 3;

/// The word in `known` that is most like `given`, if one is similar enough.
pub(crate) fn closest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A long word is a token rather than a typing error, and comparing takes the product of the lengths.
    const LONGEST: usize = 64;
    if given.len() > LONGEST {
        return None;
    }
    let given = given.to_lowercase();
    let distance = |word: &str| strsim::osa_distance(&given, &word.to_lowercase());
    known
        .into_iter()
        .map(|word| (distance(word), word))
        .filter(|(distance, word)| {
            *distance <= (given.len().max(word.len()) / MAX_DIFFERENCE).min(MAX_DIFFERENCE)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
