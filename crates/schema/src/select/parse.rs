//! From text to tree: a lexer by hand and a parser of recursive descent. Every error names the character.
//!
//! Nesting is bounded while parsing, so that no text overflows the stack.

use super::ast::{
    Chooser, FIELDS, Factor, Field, How, MAX_DEPTH, MAX_TERMS, MAX_TEXT, MAX_WORD, Part, Product, Root,
    Sample, Set, Stratum, Term, is_keyword, is_plain,
};
use super::error::SelectError;
use super::geo::Circle;

/// Reads a selection.
pub(super) fn parse(text: &str) -> Result<Root, SelectError> {
    // A length in bytes bounds the one in characters.
    if text.len() > 4 * MAX_TEXT || text.chars().count() > MAX_TEXT {
        return Err(SelectError::new("", 0, format!("a selection has at most {MAX_TEXT} characters")));
    }
    let fail = |(position, message): Wrong| SelectError::new(text, position, message);
    let tokens = lex(text).map_err(fail)?;
    let mut parser = Parser { tokens, next: 0, depth: 0, terms: 0 };
    let root = parser.root().map_err(fail)?;
    root.checked().map_err(|error| fail((error.position, error.message)))
}

type Wrong = (usize, String);

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A word, and for `field:"a value"` the part that was quoted.
    Word {
        plain: String,
        quoted: Option<String>,
    },
    Mark(char),
    End,
}

struct Placed {
    token: Token,
    at: usize,
}

fn lex(text: &str) -> Result<Vec<Placed>, Wrong> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().enumerate().peekable();
    while let Some(&(at, c)) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
        } else if matches!(c, '+' | ',' | '!' | '(' | ')' | '=' | '|') {
            chars.next();
            tokens.push(Placed { token: Token::Mark(c), at });
        } else if c == '"' || is_plain(c) {
            let mut plain = String::new();
            while let Some((_, c)) = chars.next_if(|&(_, c)| is_plain(c)) {
                plain.push(c);
            }
            let mut quoted = None;
            if let Some((open, _)) = chars.next_if(|&(_, c)| c == '"') {
                if !plain.is_empty() && !plain.ends_with(':') {
                    return Err((open, "expected a quote only around a whole word or value".to_owned()));
                }
                quoted = Some(unquote(open, &mut chars)?);
            }
            let length = plain.chars().count().max(quoted.as_ref().map_or(0, |text| text.chars().count()));
            if length > MAX_WORD + "continent:".len() {
                return Err((at, format!("a word has at most {MAX_WORD} characters")));
            }
            tokens.push(Placed { token: Token::Word { plain, quoted }, at });
        } else {
            return Err((at, format!("{c:?} stands only between quotes")));
        }
    }
    tokens.push(Placed { token: Token::End, at: text.chars().count() });
    Ok(tokens)
}

/// Reads on to the closing quote. A backslash takes the next character as it is.
fn unquote(open: usize, chars: &mut impl Iterator<Item = (usize, char)>) -> Result<String, Wrong> {
    let mut text = String::new();
    let unclosed = || (open, "this quote is never closed".to_owned());
    loop {
        match chars.next().ok_or_else(unclosed)? {
            (_, '"') if text.is_empty() => {
                return Err((open, "expected something between the quotes".to_owned()));
            }
            (_, '"') => return Ok(text),
            (_, '\\') => text.push(chars.next().ok_or_else(unclosed)?.1),
            (_, c) => text.push(c),
        }
    }
}

const TERM: &str = "a term: a word, field:value, within(…) or a group in parentheses";

struct Parser {
    tokens: Vec<Placed>,
    next: usize,
    depth: usize,
    terms: usize,
}

impl Parser {
    fn root(&mut self) -> Result<Root, Wrong> {
        let mut root = Root { parts: Vec::new(), except: Vec::new() };
        loop {
            if let Some(chooser) = self.chooser()? {
                if self.is_mark('+') {
                    return Err(self
                        .wrong("any(…), … of (…) and sample(…) stand beside a comma; move the + into them"));
                }
                root.parts.push(Part::Chosen(chooser));
            } else {
                match self.product()?.negation() {
                    Ok(term) => root.except.push(term),
                    Err(product) => root.parts.push(Part::Terms(product)),
                }
            }
            if self.token() == &Token::End {
                return Ok(root);
            }
            self.expect(',', "+ or , between terms (put quotes around a word with spaces)")?;
        }
    }

    /// `any(…)`, `3 of (…)` or `sample(…)`, if one begins here.
    fn chooser(&mut self) -> Result<Option<Chooser>, Wrong> {
        let Some(word) = self.keyword(0) else { return Ok(None) };
        let opens = self.mark_at(1) == Some('(');
        let how = match word.as_str() {
            "any" if !opens => {
                self.next += 1;
                return Ok(Some(Chooser {
                    how: How::Any,
                    among: Set { union: vec![Product(vec![Factor::of(Term::All)])], except: Vec::new() },
                }));
            }
            "any" => {
                self.next += 2;
                How::Any
            }
            "sample" if opens => {
                self.next += 2;
                let (sample, more) = self.sample()?;
                if !more {
                    self.expect(')', "a comma or )")?;
                    let among = Set { union: vec![Product(vec![Factor::of(Term::All)])], except: Vec::new() };
                    return Ok(Some(Chooser { how: How::Sample(sample), among }));
                }
                How::Sample(sample)
            }
            _ if self.keyword(1).as_deref() == Some("of") => {
                let count = self.number::<u32>("a count above 0", |count| *count > 0)?;
                self.next += 1;
                self.expect('(', "( after \"of\"")?;
                How::Of(count)
            }
            _ => return Ok(None),
        };
        let among = self.set()?;
        self.expect(')', "a comma, + or )")?;
        Ok(Some(Chooser { how, among }))
    }

    /// The numbers and options of a sample, and whether a set follows.
    fn sample(&mut self) -> Result<(Sample, bool), Wrong> {
        let count = self.number("the size of the sample, above 0", |count| *count > 0)?;
        let mut sample = Sample { count, by: Vec::new(), max: None, seed: None };
        while self.is_mark(',') {
            self.next += 1;
            let option = self.keyword(0);
            if self.mark_at(1) != Some('=') {
                return Self::bounded(sample, self.at()).map(|sample| (sample, true));
            }
            let at = self.at();
            self.next += 2;
            match option.as_deref() {
                Some("by") if sample.by.is_empty() => loop {
                    let stratum = self.keyword(0).and_then(|word| Stratum::find(&word));
                    let stratum =
                        stratum.ok_or_else(|| self.wrong("expected as, country, continent or city"))?;
                    if sample.by.contains(&stratum) {
                        return Err(self.wrong("this stands here twice"));
                    }
                    sample.by.push(stratum);
                    self.next += 1;
                    if !self.is_mark('|') {
                        break;
                    }
                    self.next += 1;
                },
                Some("max") if sample.max.is_none() => {
                    sample.max = Some(self.number("a number above 0", |max| *max > 0)?);
                }
                Some("seed") if sample.seed.is_none() => {
                    sample.seed = Some(self.number("a seed from 0 to 18446744073709551615", |_| true)?);
                }
                Some("by" | "max" | "seed") => return Err((at, "this option stands here twice".to_owned())),
                _ => return Err((at, "there is no such option: expected by=, max= or seed=".to_owned())),
            }
        }
        Self::bounded(sample, self.at()).map(|sample| (sample, false))
    }

    fn bounded(sample: Sample, at: usize) -> Result<Sample, Wrong> {
        match sample.max {
            Some(_) if sample.by.is_empty() => {
                Err((at, "max= is the most of one stratum: expected by= as well".to_owned()))
            }
            _ => Ok(sample),
        }
    }

    fn set(&mut self) -> Result<Set, Wrong> {
        let mut products = vec![self.product()?];
        while self.is_mark(',') {
            self.next += 1;
            products.push(self.product()?);
        }
        Ok(Set::of(products))
    }

    fn product(&mut self) -> Result<Product, Wrong> {
        let mut factors = vec![self.factor()?];
        while self.is_mark('+') {
            self.next += 1;
            factors.push(self.factor()?);
        }
        Ok(Product(factors))
    }

    fn factor(&mut self) -> Result<Factor, Wrong> {
        let not = self.is_mark('!');
        if not {
            self.next += 1;
            if self.is_mark('!') {
                return Err(self.wrong("expected a term after !, not another !"));
            }
        }
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(self.wrong(format!("a selection has at most {MAX_TERMS} terms")));
        }
        Ok(Factor { not, term: self.term()? })
    }

    fn term(&mut self) -> Result<Term, Wrong> {
        if self.is_mark('(') {
            self.next += 1;
            return self.group();
        }
        let at = self.at();
        let Token::Word { plain, quoted } = self.token().clone() else { return Err(self.expected(TERM)) };
        if self.mark_at(1) == Some('(') && quoted.is_none() {
            return self.call(&plain.to_ascii_lowercase());
        }
        if self.keyword(1).as_deref() == Some("of") && self.mark_at(2) == Some('(')
            || plain.eq_ignore_ascii_case("any") && quoted.is_none()
        {
            return Err((at, "a choice of some can't stand inside another or beside +".to_owned()));
        }
        self.next += 1;
        match (plain.split_once(':'), quoted) {
            (None, None) if is_keyword(&plain) => Ok(Term::All),
            (None, None) if plain.chars().count() > MAX_WORD => {
                Err((at, format!("a word has at most {MAX_WORD} characters")))
            }
            (None, None) => Ok(Term::Word(plain)),
            (None, Some(word)) if word.chars().count() > MAX_WORD => {
                Err((at, format!("a word has at most {MAX_WORD} characters")))
            }
            (None, Some(word)) => Ok(Term::Word(word)),
            (Some((name, value)), quoted) => {
                let field = Field::find(name)
                    .ok_or_else(|| (at, format!("there is no field {name:?}: expected {FIELDS}")))?;
                let value_at = at + name.chars().count() + 1;
                let value = match quoted {
                    Some(quoted) if value.is_empty() => quoted,
                    Some(_) => return Err((value_at, "expected the whole value in quotes".to_owned())),
                    None if value.is_empty() => {
                        return Err((value_at, format!("expected a value after \"{name}:\"")));
                    }
                    None => value.to_owned(),
                };
                field.term(&value).map_err(|message| (value_at, message))
            }
        }
    }

    /// A word with parentheses.
    fn call(&mut self, word: &str) -> Result<Term, Wrong> {
        match word {
            "all" => {
                self.next += 2;
                self.group()
            }
            "within" => {
                self.next += 2;
                self.within()
            }
            "any" | "sample" => Err(self.wrong("a choice of some can't stand inside another or beside +")),
            _ => Err(self.wrong(format!(
                "there is no {word}(…): expected any, all, within, sample or a number and \"of\""
            ))),
        }
    }

    /// A set, after its opening parenthesis.
    fn group(&mut self) -> Result<Term, Wrong> {
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong(format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let set = self.set()?;
        self.depth -= 1;
        self.expect(')', "a comma, + or )")?;
        Ok(Term::Group(Box::new(set)))
    }

    /// A radius and a point, after the opening parenthesis.
    fn within(&mut self) -> Result<Term, Wrong> {
        let at = self.at();
        let radius = self.keyword(0).and_then(|word| {
            let (number, scale) = match (word.strip_suffix("km"), word.strip_suffix('m')) {
                (Some(number), _) => (number, 1.0),
                (None, Some(number)) => (number, 1e-3),
                (None, None) => return None,
            };
            decimal(number).map(|number| number * scale)
        });
        let radius = radius.ok_or_else(|| self.expected("a radius, such as 300km or 500m"))?;
        self.next += 1;
        let mut point = [0.0; 2];
        for (coordinate, what) in point.iter_mut().zip(["a latitude in degrees", "a longitude in degrees"]) {
            self.expect(',', "a comma")?;
            *coordinate =
                self.keyword(0).and_then(|word| decimal(&word)).ok_or_else(|| self.expected(what))?;
            self.next += 1;
        }
        let [latitude, longitude] = point;
        let circle = Circle::new(radius, latitude, longitude).map_err(|message| (at, message.to_owned()))?;
        self.expect(')', ")")?;
        Ok(Term::Within(circle))
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str, fits: impl Fn(&T) -> bool) -> Result<T, Wrong> {
        let number = self
            .keyword(0)
            .filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|word| word.parse().ok())
            .filter(fits)
            .ok_or_else(|| self.expected(what))?;
        self.next += 1;
        Ok(number)
    }

    fn expect(&mut self, mark: char, what: &str) -> Result<(), Wrong> {
        if self.is_mark(mark) {
            self.next += 1;
            Ok(())
        } else {
            Err(self.expected(what))
        }
    }

    fn token(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |placed| &placed.token)
    }

    /// Where the next token begins.
    fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |placed| placed.at)
    }

    /// The unquoted word that lies so many tokens ahead, in lower case.
    fn keyword(&self, ahead: usize) -> Option<String> {
        match self.tokens.get(self.next + ahead)?.token {
            Token::Word { ref plain, quoted: None } => Some(plain.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn mark_at(&self, ahead: usize) -> Option<char> {
        match self.tokens.get(self.next + ahead)?.token {
            Token::Mark(mark) => Some(mark),
            _ => None,
        }
    }

    fn is_mark(&self, mark: char) -> bool {
        self.mark_at(0) == Some(mark)
    }

    fn wrong(&self, message: impl Into<String>) -> Wrong {
        (self.at(), message.into())
    }

    fn expected(&self, what: &str) -> Wrong {
        let found = match self.token() {
            Token::End => "the end".to_owned(),
            Token::Mark(mark) => format!("\"{mark}\""),
            Token::Word { plain, quoted } => {
                format!(
                    "{:?}",
                    plain.chars().chain(quoted.iter().flat_map(|q| q.chars())).take(40).collect::<String>()
                )
            }
        };
        self.wrong(format!("expected {what}, found {found}"))
    }
}

/// A decimal number with neither exponent nor sign of plus.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { text.parse().ok() } else { None }
}
