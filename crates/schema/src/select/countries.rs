//! Countries by ISO 3166-1 code and English short name, and the continents that they are counted to.
//!
//! The table has one line per continent: `CC name` entries, and after `=` other names in use, separated by bars.

use std::fmt;
use std::sync::LazyLock;

/// A continent, by the two letters that stand for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Continent {
    Africa,
    Antarctica,
    Asia,
    Europe,
    NorthAmerica,
    Oceania,
    SouthAmerica,
}

impl Continent {
    pub(super) const ALL: [Self; 7] = [
        Self::Africa,
        Self::Antarctica,
        Self::Asia,
        Self::Europe,
        Self::NorthAmerica,
        Self::Oceania,
        Self::SouthAmerica,
    ];

    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Africa => "AF",
            Self::Antarctica => "AN",
            Self::Asia => "AS",
            Self::Europe => "EU",
            Self::NorthAmerica => "NA",
            Self::Oceania => "OC",
            Self::SouthAmerica => "SA",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Africa => "africa",
            Self::Antarctica => "antarctica",
            Self::Asia => "asia",
            Self::Europe => "europe",
            Self::NorthAmerica => "north america",
            Self::Oceania => "oceania",
            Self::SouthAmerica => "south america",
        }
    }

    /// The continent that a code or a name means.
    pub(super) fn find(text: &str) -> Option<Self> {
        let folded = fold(text);
        Self::ALL.into_iter().find(|c| c.code().eq_ignore_ascii_case(&folded) || c.name() == folded)
    }

    /// The continent that a country is counted to.
    pub(super) fn of_country(code: &str) -> Option<Self> {
        COUNTRIES
            .iter()
            .find(|country| country.code.eq_ignore_ascii_case(code))
            .map(|country| country.continent)
    }
}

/// A country by its ISO 3166-1 alpha-2 code, in upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CountryCode([u8; 2]);

impl CountryCode {
    /// The country that a code or an English name means. Two letters are always taken for a code, so that a code that
    /// is newer than the table works.
    pub(super) fn find(text: &str) -> Option<Self> {
        if let [a, b] = *text.as_bytes()
            && a.is_ascii_alphabetic()
            && b.is_ascii_alphabetic()
            && !text.eq_ignore_ascii_case("uk")
        {
            return Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]));
        }
        let folded = fold(text);
        COUNTRIES
            .iter()
            .find(|country| country.names.contains(&folded.as_str()))
            .and_then(|country| Self::find(country.code))
    }

    /// Whether this is the country of the given code.
    pub(super) fn is(self, code: &str) -> bool {
        code.as_bytes().eq_ignore_ascii_case(&self.0)
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&letter| write!(f, "{}", char::from(letter)))
    }
}

/// The form in which names of places are compared: lower case, a space for a dash or an underscore.
pub(super) fn fold(text: &str) -> String {
    folded(text).collect()
}

/// Whether a name is the one that was folded before.
pub(super) fn is_folded(text: &str, other: &str) -> bool {
    folded(text).eq(other.chars())
}

fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_lowercase).map(|c| if matches!(c, '-' | '_') { ' ' } else { c })
}

struct Country {
    code: &'static str,
    /// Folded.
    names: Vec<&'static str>,
    continent: Continent,
}

static COUNTRIES: LazyLock<Vec<Country>> = LazyLock::new(|| {
    TABLE
        .iter()
        .flat_map(|&(continent, entries)| entries.split('|').map(move |entry| (continent, entry.trim())))
        .filter_map(|(continent, entry)| {
            let (code, names) = entry.split_once(' ')?;
            Some(Country { code, names: names.split('=').collect(), continent })
        })
        .collect()
});

const TABLE: [(Continent, &str); 7] = [
    (
        Continent::Africa,
        "AO angola|BF burkina faso|BI burundi|BJ benin|BW botswana|\
         CD democratic republic of the congo=dr congo=drc=congo kinshasa|CF central african republic|\
         CG congo=republic of the congo=congo brazzaville|CI ivory coast=cote d'ivoire=côte d'ivoire|\
         CM cameroon|CV cape verde=cabo verde|DJ djibouti|DZ algeria|EG egypt|EH western sahara|ER eritrea|\
         ET ethiopia|GA gabon|GH ghana|GM gambia=the gambia|GN guinea|GQ equatorial guinea|GW guinea bissau|\
         KE kenya|KM comoros|LR liberia|LS lesotho|LY libya|MA morocco|MG madagascar|ML mali|MR mauritania|\
         MU mauritius|MW malawi|MZ mozambique|NA namibia|NE niger|NG nigeria|RE reunion=réunion|RW rwanda|\
         SC seychelles|SD sudan|SH saint helena|SL sierra leone|SN senegal|SO somalia|SS south sudan|\
         ST sao tome and principe=são tomé and príncipe|SZ eswatini=swaziland|TD chad|TG togo|TN tunisia|\
         TZ tanzania|UG uganda|YT mayotte|ZA south africa|ZM zambia|ZW zimbabwe",
    ),
    (
        Continent::Antarctica,
        "AQ antarctica|BV bouvet island|GS south georgia and the south sandwich islands=south georgia|\
         HM heard island and mcdonald islands|TF french southern territories",
    ),
    (
        Continent::Asia,
        "AE united arab emirates=uae|AF afghanistan|AM armenia|AZ azerbaijan|BD bangladesh|BH bahrain|\
         BN brunei=brunei darussalam|BT bhutan|CC cocos islands|CN china|CX christmas island|CY cyprus|\
         GE georgia|HK hong kong|ID indonesia|IL israel|IN india|IO british indian ocean territory|IQ iraq|\
         IR iran|JO jordan|JP japan|KG kyrgyzstan|KH cambodia|KP north korea|KR south korea=korea|KW kuwait|\
         KZ kazakhstan|LA laos|LB lebanon|LK sri lanka|MM myanmar=burma|MN mongolia|MO macao=macau|\
         MV maldives|MY malaysia|NP nepal|OM oman|PH philippines|PK pakistan|PS palestine|QA qatar|\
         SA saudi arabia|SG singapore|SY syria|TH thailand|TJ tajikistan|TL timor leste=east timor|\
         TM turkmenistan|TR turkey=türkiye=turkiye|TW taiwan|UZ uzbekistan|VN vietnam=viet nam|YE yemen",
    ),
    (
        Continent::Europe,
        "AD andorra|AL albania|AT austria|AX aland islands=åland islands|BA bosnia and herzegovina=bosnia|\
         BE belgium|BG bulgaria|BY belarus|CH switzerland|CZ czechia=czech republic|DE germany|DK denmark|\
         EE estonia|ES spain|FI finland|FO faroe islands|FR france|\
         GB united kingdom=uk=great britain=britain|GG guernsey|GI gibraltar|GR greece|HR croatia|HU hungary|\
         IE ireland|IM isle of man|IS iceland|IT italy|JE jersey|LI liechtenstein|LT lithuania|\
         LU luxembourg|LV latvia|MC monaco|MD moldova|ME montenegro|MK north macedonia=macedonia|MT malta|\
         NL netherlands=the netherlands=holland|NO norway|PL poland|PT portugal|RO romania|RS serbia|\
         RU russia=russian federation|SE sweden|SI slovenia|SJ svalbard and jan mayen=svalbard|SK slovakia|\
         SM san marino|UA ukraine|VA vatican city=vatican=holy see|XK kosovo",
    ),
    (
        Continent::NorthAmerica,
        "AG antigua and barbuda|AI anguilla|AW aruba|BB barbados|BL saint barthelemy=saint barthélemy|\
         BM bermuda|BQ bonaire=bonaire sint eustatius and saba=caribbean netherlands|BS bahamas=the bahamas|\
         BZ belize|CA canada|CR costa rica|CU cuba|CW curacao=curaçao|DM dominica|DO dominican republic|\
         GD grenada|GL greenland|GP guadeloupe|GT guatemala|HN honduras|HT haiti|JM jamaica|\
         KN saint kitts and nevis|KY cayman islands|LC saint lucia|MF saint martin|MQ martinique|\
         MS montserrat|MX mexico|NI nicaragua|PA panama|PM saint pierre and miquelon|PR puerto rico|\
         SV el salvador|SX sint maarten|TC turks and caicos islands|TT trinidad and tobago|\
         US united states=usa=united states of america|VC saint vincent and the grenadines|\
         VG british virgin islands|VI united states virgin islands=us virgin islands",
    ),
    (
        Continent::Oceania,
        "AS american samoa|AU australia|CK cook islands|FJ fiji|FM micronesia|GU guam|KI kiribati|\
         MH marshall islands|MP northern mariana islands|NC new caledonia|NF norfolk island|NR nauru|NU niue|\
         NZ new zealand|PF french polynesia|PG papua new guinea|PN pitcairn|PW palau|SB solomon islands|\
         TK tokelau|TO tonga|TV tuvalu|UM united states minor outlying islands|VU vanuatu|\
         WF wallis and futuna|WS samoa",
    ),
    (
        Continent::SouthAmerica,
        "AR argentina|BO bolivia|BR brazil|CL chile|CO colombia|EC ecuador|FK falkland islands=malvinas|\
         GF french guiana|GY guyana|PE peru|PY paraguay|SR suriname|UY uruguay|VE venezuela",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_code_and_name_stands_once() {
        let codes: BTreeSet<_> = COUNTRIES.iter().map(|country| country.code).collect();
        assert_eq!(codes.len(), COUNTRIES.len());
        // ISO 3166-1 has 249 codes; Kosovo's XK is a user-assigned one in wide use.
        assert_eq!(codes.len(), 250);
        let names: Vec<_> = COUNTRIES.iter().flat_map(|country| &country.names).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for (country, name) in COUNTRIES.iter().flat_map(|c| c.names.iter().map(move |name| (c, name))) {
            assert_eq!(fold(name), **name);
            assert!(CountryCode::find(name).unwrap().is(country.code), "{name}");
        }
    }

    #[test]
    fn names_and_codes_are_found() {
        let code = |text: &str| CountryCode::find(text).map(|code| code.to_string());
        assert_eq!(code("Germany").as_deref(), Some("DE"));
        assert_eq!(code("united-states").as_deref(), Some("US"));
        assert_eq!(code("UK").as_deref(), Some("GB"));
        assert_eq!(code("de").as_deref(), Some("DE"));
        assert_eq!(code("atlantis"), None);
        assert_eq!(Continent::find("North_America"), Some(Continent::NorthAmerica));
        assert_eq!(Continent::find("eu"), Some(Continent::Europe));
        assert_eq!(Continent::of_country("ke"), Some(Continent::Africa));
    }
}
